-- What does emphasis bring back beyond its placebo, and beyond a model that never knew?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and strategy, with 'any'. effect: mean over n forget examples that the
-- base model knew of (treatment - placebo, mean of its draws) on the run minus the same on its retain run, -2 to 2,
-- above 0 in favour of emphasis, with a 95 % interval paired and robust to groups. placebo_arm:
-- placebo_same, else placebo_foreign, with shares where both were used. never_knew: present; absent
-- (no retain run, nothing subtracted); itself (this is the retain run, nothing subtracted); stand-in
-- (no retain run; subtracted is the mean of stand_ins forget questions that the base model answers
-- wrong, each attribute weighted by its known questions; groups: of the side with fewer).
-- without_stand_in: known facts left out for want of such a question of their attribute.
SELECT chosen.run_id, chosen.model, chosen.method, strategy, effect, effect_low, effect_high, n,
    groups, placebo_arm, if(stand_ins > 0, 'stand-in', never_knew) AS never_knew, stand_ins,
    without_stand_in
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN run_effect ON run_effect.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, strategy = 'any', strategy
