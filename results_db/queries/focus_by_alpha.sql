-- Does the shift of focus depend on how many tokens count as KeyTokens?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- $attribution_method  VARCHAR  e.g. 'leave_one_out'
-- $target              VARCHAR  whose answer: 'gold', 'base_generation' or 'own_generation'
-- $answer_tokens       VARCHAR  which tokens of it: 'all' or 'novel'
-- One row per complete run, split (forget, retain) and alpha, summed up when the run was
-- published. alpha: a token is a KeyToken if its share of the largest (or summed) contribution on
-- the base model is above it, a fraction; is_recorded: KeyTokens are stored at this one, and the
-- row says what query focus says with minimum_nats 0.05. n, groups: examples whose focus is
-- defined on the base model (before) and the run (after), and their groups. focus: share of
-- positive contribution on KeyTokens, in [0, 1]. shift: after - before, with a 95 % interval,
-- paired and robust to groups. key_contribution: nats per answer token. undefined: examples left
-- out.
SELECT chosen.run_id, chosen.model, chosen.method, split, alpha, is_recorded, n, groups,
    focus_before, focus_after, shift, shift_low, shift_high, key_contribution_before,
    key_contribution_after, undefined
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN focus_by_alpha AS found ON found.run_id = chosen.run_id
WHERE found.method = $attribution_method AND target = $target AND answer_tokens = $answer_tokens
ORDER BY chosen.model, chosen.method, chosen.run_id, split, alpha
