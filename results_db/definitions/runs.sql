---------- Runs and plain answers ----------

-- Complete runs with what they are compared with, of the same measurement version and the same
-- version of the data. final_step: the step that results are about;
-- base_step: that of the base model; both NULL where it is not in the file. never_knew: whether the
-- file holds the retain run, 'present' or 'absent', or 'itself' for the retain run; only where it is
-- present has never_run_id a value. Macros below take the name of a relation of such runs as
-- of_runs.
CREATE OR REPLACE VIEW compared_run AS
    SELECT run.*, final.step AS final_step, final.weight_change, base_final.step AS base_step,
        CASE
            WHEN retain.run_id IS NULL THEN 'absent'
            WHEN retain.run_id = run.run_id THEN 'itself'
            ELSE 'present'
        END AS never_knew,
        if(never_knew = 'present', retain.run_id, NULL) AS never_run_id
    FROM run
    LEFT JOIN checkpoint AS final ON final.run_id = run.run_id AND final.is_final
    LEFT JOIN run AS base ON base.run_id = run.base_run_id AND base.status = 'complete'
        AND base.measurement = run.measurement AND base.data_hash = run.data_hash
    LEFT JOIN checkpoint AS base_final ON base_final.run_id = base.run_id AND base_final.is_final
    LEFT JOIN run AS retain ON retain.run_id = run.retain_run_id AND retain.status = 'complete'
        AND retain.measurement = run.measurement AND retain.data_hash = run.data_hash
    WHERE run.status = 'complete';

-- Whether a method is a reference and not unlearning.
CREATE OR REPLACE MACRO is_reference(of_method) AS of_method IN ('none', 'retrain', 'sham');

-- The seed and each setting of the method that has a value, as text, one row per run and key.
CREATE OR REPLACE MACRO settings_of(of_runs) AS TABLE
    SELECT run_id, 'seed' AS key, seed::VARCHAR AS value FROM query_table(of_runs)
    UNION ALL
    SELECT run_id, replace(tree.fullkey[3:], '"', ''), trim(tree.atom::VARCHAR, '"')
    FROM query_table(of_runs) AS chosen, json_tree(chosen.spec -> '$.settings') AS tree
    WHERE tree.atom IS NOT NULL;

-- Plain answers on the final weights beside the answer of the base model. base_correct is NULL
-- where that was not asked.
CREATE OR REPLACE MACRO final_answers(of_runs) AS TABLE
    SELECT chosen.run_id, answer.example_id, example.split, example."group", example.attribute,
        answer.correct, answer.guess_rate, base_answer.correct AS base_correct
    FROM query_table(of_runs) AS chosen
    JOIN answer ON answer.run_id = chosen.run_id AND answer.step = chosen.final_step
    JOIN example ON example.benchmark = chosen.benchmark
        AND example.data_hash = chosen.data_hash AND example.example_id = answer.example_id
    LEFT JOIN answer AS base_answer ON base_answer.run_id = chosen.base_run_id
        AND base_answer.step = chosen.base_step AND base_answer.example_id = answer.example_id;

-- What each run's base model knew of the forget split, and whether the run still says it; forgotten
-- is not correct.
CREATE OR REPLACE MACRO known_facts(of_runs) AS TABLE
    SELECT run_id, example_id, "group", attribute, correct, guess_rate
    FROM final_answers(of_runs) WHERE split = 'forget' AND base_correct;

-- What each run's base model answered wrong of the forget split: facts that were never there.
CREATE OR REPLACE MACRO wrong_facts(of_runs) AS TABLE
    SELECT run_id, example_id, "group", attribute
    FROM final_answers(of_runs) WHERE split = 'forget' AND NOT base_correct;
