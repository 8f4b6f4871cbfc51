"""Starting to decode in the middle of a run, with the result of a decoder that started with the run.

All that a decoder remembers from one readout to the next is a begun hit, and that is the end of what it has read: so
there are only a few states that it can be in, whatever came before. They are tried side by side. As soon as all of
them have led to the same, it no longer matters which one was right (docs/decisions/0009).
"""

from protocol.block import ReadoutBlock
from protocol.readout_decoder import ReadoutDecoder


def decoder_within_run(decoder: ReadoutDecoder, readouts: ReadoutBlock) -> tuple[ReadoutDecoder, int] | None:
    """A decoder as one that has read all of the run up to somewhere in `readouts`, and of how many of them that is.

    `decoder`: any one for that run; it is not changed. `readouts`: in order, none left out, not from the start of the
    run. What is decoded after these readouts has the same hits, with the same place in their readout; the ledger counts
    from there only. None where `readouts` do not decide it.
    """
    before = 0
    while before < len(readouts):
        before += 1
        try:
            possible = decoder.possible_after(readouts[:before])
        except ValueError:
            continue  # more bytes are needed
        break
    else:
        return None
    while len(possible) > 1:
        if before == len(readouts):
            return None
        for each in possible:
            each.decode(readouts[before : before + 1])
        before += 1
        possible = list({each.carried: each for each in possible}.values())
    return possible[0], before
