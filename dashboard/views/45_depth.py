"""Depth: whether the facts are still in the activations, block by block."""

from dashboard import charts
from dashboard.controls import filters, panels
from dashboard.look import thresholds
from dashboard.markup import depth
from dashboard.rows import data
from dashboard.rows.drawn import draw, kept

NOTHING = "No run here was measured for this. A plan asks for it in [probe.depth.NAME]."

panels.page("Depth", "Is it still in the activations, and from which block on?")
chosen = filters.sidebar()
panels.context(chosen.benchmark, chosen.models, **chosen.version)
panels.final_step_only(chosen)
panels.warnings(data.rows("differences", **chosen.runs))
panels.flags(data.rows("run_flags", **chosen.runs))

panels.heading(
    "How deep is each run's unlearning?",
    "Unlearning depth score: this run's states are put into the base model; how much of what the "
    "retain model's states take from the fact do they take? 0: still there, 1: erased as if never "
    "known. Open marks are controls: sham about 0, states of another question about 1.",
)
scores = data.rows("depth_scores", **chosen.runs, minimum_drop=thresholds.MINIMUM_DROP)
if panels.found(scores, NOTHING):
    with_score = scores[scores["score"].notna()]
    if len(with_score):
        panels.chart(draw(charts.depth_scores, with_score), key="depth_scores")
    panels.markup(kept(depth.scores, scores))
    panels.computed("depth_scores")

blocks = data.rows("depth", **chosen.runs)
measured = blocks[blocks["block"].notna()]

panels.heading(
    "What does the base model lose by a run's states, block by block?",
    "Mean loss of log p of the fact's tokens, nats per token, when the states that predict them "
    "are replaced after one block. The retain model's line is what full erasure looks like.",
)
drops = measured[measured["depth_method"] == "uds"]
if panels.found(drops, NOTHING):
    if not drops["calibrated"].all():
        panels.note(depth.UNCALIBRATED)
    panels.chart(draw(charts.block_maps, drops), key="depth_drops")

panels.heading(
    "From which block on can the run still read what the base model knows?",
    "The reverse: the base model's states put into the run, mean gain of log p, nats per token. "
    "It says where the run can read the fact when it is given one, never that it knows it. The "
    "last block is left out: behind it every model reads the base model's answer.",
)
gains = measured[measured["depth_method"] == "reverse_patching"]
if panels.found(gains, NOTHING):
    panels.chart(draw(charts.block_maps, gains), key="depth_gains")

panels.heading(
    "How likely does each block already make the answer?",
    "Logit lens: what the model's own final norm and output layer make of each block's state, log "
    "p of the answer's first novel token in nats. At the last block it is the model's own.",
)
lens = measured[measured["measure"] == "logprob"]
if panels.found(lens, NOTHING):
    panels.chart(draw(charts.block_maps, lens), key="depth_lens")

panels.heading(
    "Does the state at the end of the question tell the right answer from others?",
    "A linear probe over output embeddings, learned on other people and tested on these: share of "
    "other answers of the same kind that it ranks below the right one. By chance 0.5; the control "
    "has the answers permuted, and what a probe finds there is not knowledge.",
)
probed = measured[measured["depth_method"] == "answer_probe"]
if panels.found(probed, NOTHING):
    panels.chart(draw(charts.block_maps, probed), key="depth_probe")

for line in depth.unmeasured(blocks):
    panels.note(line)
panels.computed("depth")
