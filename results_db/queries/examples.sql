-- Which prompts are there, and which of them were forgotten or recovered?
-- $benchmark  VARCHAR  name of the benchmark
-- $model      VARCHAR  name of the model
-- $split      VARCHAR  'forget', 'retain', 'holdout' or 'general'; 'all' for all
-- $search     VARCHAR  part of the prompt, the answer, the group or the id, in any case; '' for all
-- $outcome    VARCHAR  'all'; 'forgotten' or 'recovered' in a run; 'kept' by every run
-- One row per question. n_forgotten: complete runs of unlearning methods (not none, retrain, sham)
-- whose plain answer is wrong where the base model's is correct; n_recovered: those of them that
-- are correct again under any emphasis. 'kept': some run was asked, and none forgot.
WITH counted AS (
    SELECT example_id, count(*) FILTER (NOT correct) AS n_forgotten,
        count(*) FILTER (recovered) AS n_recovered
    FROM final_answer
    JOIN chosen_runs($benchmark, [$model], NULL::VARCHAR[]) AS chosen USING (run_id)
    WHERE base_correct AND NOT is_reference(chosen.method)
    GROUP BY example_id
)
SELECT example.example_id, split, "group", attribute, prompt, answer,
    coalesce(n_forgotten, 0) AS n_forgotten, coalesce(n_recovered, 0) AS n_recovered
FROM example LEFT JOIN counted USING (example_id)
WHERE benchmark = $benchmark AND data_hash = shown_data($benchmark) AND form = 'question'
    AND ($split = 'all' OR split = $split)
    AND contains(lower(concat_ws(chr(10), prompt, answer, "group", example_id)), lower($search))
    AND CASE $outcome
        WHEN 'all' THEN true
        WHEN 'forgotten' THEN coalesce(counted.n_forgotten, 0) > 0
        WHEN 'recovered' THEN coalesce(counted.n_recovered, 0) > 0
        WHEN 'kept' THEN coalesce(counted.n_forgotten = 0, false)
        ELSE error('outcome is one of all, forgotten, recovered, kept')
    END
ORDER BY list_position(['forget', 'retain', 'holdout', 'general'], split), example.example_id
