// The updates: parts of arrays from the server (monitor/web/encoding.py), the latest of each kept by name.

const SILENT_MS = 4000;
const AGAIN_MS = 1000;
const TYPES = {Uint8Array, Uint16Array, Uint32Array, Float32Array, Float64Array};

export function decode(buffer) {
  const parts = [], view = new DataView(buffer), text = new TextDecoder();
  for (let at = 0; at < buffer.byteLength;) {
    const header_bytes = view.getUint32(at, true), array_bytes = view.getUint32(at + 4, true);
    const header = JSON.parse(text.decode(new Uint8Array(buffer, at + 8, header_bytes)));
    const arrays_at = at + 8 + header_bytes, columns = {};
    for (const [name, column] of Object.entries(header.columns)) {
      columns[name] = Array.isArray(column) ? column : array(buffer, arrays_at, column);
    }
    parts.push({source: header.source, choice: header.choice, columns, about: header.about});
    at = arrays_at + array_bytes;
  }
  return parts;
}

function array(buffer, at, {type, shape, at: offset}) {
  const length = shape.reduce((product, n) => product * n, 1);
  const values = new TYPES[type](buffer, at + offset, length);
  values.shape = shape;
  return values;
}

// Keeps a websocket to the server; `arrived(parts)` for each update, `lost(bool)` when the connection goes and comes.
export class Stream {
  constructor(arrived, lost) {
    this.latest = new Map();
    this.updates = 0;
    this._arrived = arrived;
    this._lost = lost;
    this._wish = null;
    this._open = false;
    this._heard = performance.now();
    setInterval(() => this._lost(!this._open || performance.now() - this._heard > SILENT_MS), 1000);
    this._connect();
  }

  _connect() {
    const socket = new WebSocket(new URL("updates", location.href.replace(/^http/, "ws")));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this._open = true;
      if (this._wish) socket.send(this._wish);
    };
    socket.onmessage = (event) => {
      this._heard = performance.now();
      this.updates += 1;
      const parts = decode(event.data);
      for (const part of parts) this.latest.set(`${part.source}@${part.choice}`, part);
      this._arrived(parts);
    };
    socket.onclose = () => {
      this._open = false;
      this._lost(true);
      setTimeout(() => this._connect(), AGAIN_MS);
    };
    this._socket = socket;
  }

  // What this browser looks at: {layer, chip, row, column}.
  select(selection) {
    this._wish = JSON.stringify(selection);
    if (this._socket.readyState === WebSocket.OPEN) this._socket.send(this._wish);
  }

  part(source, choice) { return this.latest.get(`${source}@${choice}`); }
  about(source) { return this.latest.get(`${source}@`)?.about; }
}
