-- What several summaries read of the runs of `affected`, each made once, before the first of them.

CREATE OR REPLACE TEMP TABLE affected_known AS FROM known_facts('affected');

CREATE OR REPLACE TEMP TABLE affected_wrong AS FROM wrong_facts('affected');

CREATE OR REPLACE TEMP TABLE affected_attempt AS
    SELECT run_id, example_id, strategy, arm, draw, rung, correct, guess_rate, is_emphasis
    FROM final_attempts('affected');

CREATE OR REPLACE TEMP TABLE affected_outcome AS FROM final_outcomes('affected_attempt');

CREATE OR REPLACE TEMP TABLE affected_effect AS
    FROM example_effects('affected', 'affected_known', 'affected_wrong', 'affected_outcome');

-- Metrics of these runs, of their base models and of their retain runs.
CREATE OR REPLACE TEMP TABLE affected_item AS
    WITH near AS (
        FROM compared_run
        WHERE run_id IN (SELECT unnest([run_id, base_run_id, never_run_id]) FROM affected)
    )
    FROM metric_items('near');

CREATE OR REPLACE TEMP TABLE affected_score AS
    WITH near AS (
        FROM compared_run
        WHERE run_id IN (SELECT unnest([run_id, base_run_id, never_run_id]) FROM affected)
    )
    FROM membership_scores('near', 'affected_item');
