// What only an operator may: start and stop of runs, alarms acknowledged and silenced. Not there unless the server
// takes such commands; and nothing is shown to be pressed before a token is written.

const by_id = (id) => document.getElementById(id);

async function send(path, body) {
  const headers = {"X-Operator-Token": by_id("token").value, "Content-Type": "application/json"};
  try {
    return await (await fetch(path, {method: "POST", headers, body: JSON.stringify(body)})).json();
  } catch (error) {
    return {ok: false, message: `no answer: ${error}`};
  }
}

// `may.runs`: runs may be started; `may.alarms`: alarms may be acknowledged. Gives what `show_alarms` takes.
export function operator(may) {
  if (!may.runs && !may.alarms) return null;
  by_id("control").hidden = false;
  by_id("runs").hidden = !may.runs;
  by_id("token").addEventListener("input", () => {
    document.body.classList.toggle("operator", by_id("token").value !== "");
  });
  const command = async (name, body = {}) => {
    by_id("answer").textContent = "…";
    const answer = await send(`control/${name}`, body);
    by_id("answer").textContent = answer.ok ? `${name}: run ${answer.run ?? "–"}, ${answer.state ?? ""}` : answer.message;
  };
  by_id("control").querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (may.runs) command("start", {comment: by_id("run-comment").value});
  });
  by_id("stop").addEventListener("click", () => command("stop"));
  if (!may.alarms) return null;
  return async (name, id) => {
    const answer = await send(`alarms/${name}`, {id});
    return answer.ok ? answer.message ?? "" : answer.message;
  };
}
