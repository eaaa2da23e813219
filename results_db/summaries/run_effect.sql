-- What emphasis brings back beyond its placebo, and beyond a model that never knew.
-- run_id: The run.
-- strategy: A strategy tried on its final weights, or any.
-- effect: Mean of the effect over the examples, -2 to 2, above 0 in favour of emphasis; NULL where none has one.
-- effect_low: Lower end of its 95 % interval, paired and robust to groups; NULL from one group.
-- effect_high: Upper end of that interval; NULL from one group.
-- n: Forget examples that the base model knew and that have an effect, a count.
-- groups: Groups of these examples, a count.
-- alike: Whether these groups do not differ at all.
-- placebo_arm: The placebo used, or both with their shares.
SELECT run_id, strategy, effect, effect_low, effect_high, n, groups, alike, placebo_arm
FROM run_effects('affected', 'affected_attempt', 'affected_effect')
