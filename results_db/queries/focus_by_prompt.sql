-- On which prompts of a run did the focus on KeyTokens move?
-- $run_id              VARCHAR  the run
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- $minimum_nats        DOUBLE   no focus below this sum of positive contributions, e.g. 0.05
-- One row per example attributed on the run, if it is complete, and on its base model, where
-- KeyTokens are defined. focus: sum of positive contributions of KeyTokens / of all question
-- tokens, in [0, 1], NULL where undefined; before is the base model. key: sum of the contributions
-- of KeyTokens, nats per answer token. plain_correct: whether the run's plain answer is correct.
WITH chosen AS MATERIALIZED (
    FROM compared WHERE run_id = $run_id
)
SELECT pair.run_id, model, method, pair.split, pair.example_id, prompt, focus_before, focus_after,
    key_before, key_after, plain_correct
FROM focus_pairs('chosen', $attribution_method, $target, $answer_tokens, $minimum_nats) AS pair
JOIN example ON example.benchmark = pair.benchmark AND example.data_hash = pair.data_hash
    AND example.example_id = pair.example_id
ORDER BY pair.split, pair.example_id
