-- What does each run answer to the rewritten forms of one prompt?
-- $benchmark   VARCHAR    name of the benchmark
-- $models      VARCHAR[]  models to show; empty means all
-- $example_id  VARCHAR    the example
-- One row per complete run, strategy, arm and draw, on the final weights. words: that were
-- emphasised. logprob: of the gold
-- answer, nats per token. reason: why the attempt could not be made, NULL where it was. Rows are
-- found first and their texts read after: twice as quick.
WITH place AS MATERIALIZED (
    SELECT recovery.rowid AS row, chosen.run_id, chosen.model, chosen.method
    FROM chosen_runs($benchmark, $models::VARCHAR[], NULL::VARCHAR[]) AS chosen
    JOIN recovery ON recovery.run_id = chosen.run_id AND recovery.step = chosen.final_step
    WHERE example_id = $example_id
)
SELECT place.run_id, place.model, place.method, strategy, arm, draw, words, prompt, text, correct,
    logprob, reason
FROM place JOIN recovery ON recovery.rowid = place.row
ORDER BY place.model, place.method, place.run_id, strategy, arm <> 'treatment',
    placebo_rank(arm), draw
