-- What a run can do at a measured step, alone and beside its base model.
-- run_id: The run.
-- step: The measured step.
-- measure: forget, retain or general correct, or plain-text perplexity.
-- value: Fraction correct in [0, 1], or perplexity per token (in a run by words per word): 1 or more, lower is better.
-- low: Lower end of its 95 % interval, robust to groups; NULL from one group.
-- high: Upper end of that interval; NULL from one group.
-- n: Examples measured, a count.
-- groups: Groups of these examples, a count.
-- unit: Unit of value.
-- place: Place of the measure in a list, from 1; NULL for the last.
-- base_value: The base model's value over the same examples; NULL where it was not measured.
-- guess_rate: Mean share of wrong values that the answers would pass for, in [0, 1]; NULL for texts.
-- ratio: What is kept of the base model, 1 is as good; NULL where that has nothing right.
-- ratio_low: Lower end of its 95 % interval, paired and robust to groups.
-- ratio_high: Upper end of that interval.
-- ratio_groups: Groups that the ratio is over, a count.
-- ratio_alike: Whether these groups do not differ at all.
WITH item AS MATERIALIZED (
    FROM utility_items('affected')
), found AS MATERIALIZED (
    FROM utility_estimates('item')
), paired AS (
    SELECT run_id, step, measure, avg(base_value) AS base_mean, avg(guess_rate) AS guess_rate
    FROM item GROUP BY run_id, step, measure
)
SELECT run_id, step, measure, done.value, done.low, done.high, done.n, done.groups, unit,
    place, if(is_nll, exp(base_mean), base_mean) AS base_value, guess_rate, ratio.ratio,
    ratio.low AS ratio_low, ratio.high AS ratio_high, ratio.groups AS ratio_groups,
    ratio.alike AS ratio_alike
FROM utility_values('found') AS done
LEFT JOIN utility_ratios('found') AS ratio USING (run_id, step, measure)
LEFT JOIN paired USING (run_id, step, measure)
