-- What emphasis brings back beyond its placebo, and beyond a model that never knew.
-- run_id: The run.
-- strategy: A strategy tried on its final weights, or any.
-- effect: Mean of the effect over the examples, -2 to 2, above 0 in favour of emphasis; NULL where none has one.
-- effect_low: Lower end of its 95 % interval, paired and robust to groups; NULL from one group.
-- effect_high: Upper end of that interval; NULL from one group.
-- n: Forget examples that the base model knew and that have an effect, a count.
-- groups: Groups of these examples, a count; of the side with fewer where stand_ins is above 0.
-- alike: Whether these groups do not differ at all.
-- placebo_arm: The placebo used, or both with their shares.
-- stand_ins: Forget questions that the base model answers wrong, which stand for what was never known where no retain run is: the mean of their attributes is subtracted; a count, 0 for none.
-- without_stand_in: Known facts that are left out since no wrongly answered question of their attribute was tried, a count.
SELECT run_id, strategy, effect, effect_low, effect_high, n, groups, alike, placebo_arm, stand_ins,
    without_stand_in
FROM run_effects('affected', 'affected_attempt', 'affected_effect')
