---------- Utility ----------

-- One number for each thing that utility is measured on: correct answers (0 or 1), and the negative
-- log-likelihood of plain texts, nats per token or, where a run is read by words, per word.
CREATE OR REPLACE MACRO measurements() AS TABLE
    SELECT run_id, step, example_id, false AS is_nll, correct::INTEGER::DOUBLE AS value, guess_rate,
        'fraction' AS unit
    FROM answer
    UNION ALL
    SELECT run_id, step, example_id, true, value, NULL,
        if(unit = 'nats/word', 'perplexity per word', 'perplexity per token')
    FROM utility
    WHERE task = 'plain_text' AND metric = 'nll' AND example_id IS NOT NULL AND value IS NOT NULL;

-- Measurements, one row per run, measured step, measure and example, beside the base model's. measure: 'forget correct', 'retain correct', 'general correct', 'plain-text
-- perplexity'.
CREATE OR REPLACE MACRO utility_items(of_runs) AS TABLE
    SELECT chosen.run_id, own.step, own.is_nll, example."group", own.value, own.guess_rate,
        own.unit,
        if(own.is_nll, 'plain-text perplexity', example.split || ' correct') AS measure,
        base.value AS base_value
    FROM query_table(of_runs) AS chosen
    JOIN measurements() AS own ON own.run_id = chosen.run_id
    JOIN example ON example.benchmark = chosen.benchmark
        AND example.data_hash = chosen.data_hash AND example.example_id = own.example_id
    LEFT JOIN measurements() AS base ON base.run_id = chosen.base_run_id
        AND base.step = chosen.base_step AND base.example_id = own.example_id
        AND base.is_nll = own.is_nll
    WHERE own.is_nll OR example.split IN ('forget', 'retain', 'general');

-- Estimates of what a run can do, and (is_kept) of what it keeps of its base model, paired by
-- example: one row per run, measured step, measure and is_kept of a relation of utility_items.
CREATE OR REPLACE MACRO utility_estimates(of_items) AS TABLE
    WITH item_value AS (
        SELECT {
                'run_id': run_id, 'step': step, 'measure': measure, 'is_nll': is_nll,
                'unit': unit, 'is_kept': false
            } AS cell,
            if(is_nll, 'measure', 'rate') AS kind, "group", value, 1 AS weight
        FROM query_table(of_items)
        UNION ALL
        SELECT {
                'run_id': run_id, 'step': step, 'measure': measure, 'is_nll': is_nll,
                'unit': unit, 'is_kept': true
            },
            if(is_nll, 'measure', 'change'), "group", if(is_nll, value - base_value, value),
            if(is_nll, 1 + 0 * base_value, base_value)
        FROM query_table(of_items)
    )
    FROM estimates('item_value');

-- What a run can do, one row per run, measured step and measure of a relation of
-- utility_estimates: fraction correct, or perplexity per token (or word): exp(mean negative
-- log-likelihood).
CREATE OR REPLACE MACRO utility_values(of_estimates) AS TABLE
    SELECT cell.run_id AS run_id, cell.step AS step, cell.measure AS measure,
        cell.is_nll AS is_nll,
        if(is_nll, exp(estimate), estimate) AS value, if(is_nll, exp(low), low) AS low,
        if(is_nll, exp(high), high) AS high, n, groups,
        cell.unit AS unit,
        list_position(['forget correct', 'retain correct', 'general correct'], measure) AS place
    FROM query_table(of_estimates) WHERE NOT cell.is_kept;

-- What a run keeps of its base model, one row per run, measured step and measure of a relation of
-- utility_estimates. ratio: 1 is as good as the base model; NULL where that has nothing right.
--   correct answers: of the run / of the base model.
--   perplexity: of the base model / of the run.
-- The base model's own ratio is 1, without uncertainty.
CREATE OR REPLACE MACRO utility_ratios(of_estimates) AS TABLE
    WITH found AS (
        SELECT cell, cell.is_nll AS is_nll, n, groups, alike,
            if(is_nll, exp(-estimate), estimate) AS ratio,
            CASE WHEN is_nll THEN exp(-high) WHEN low < 0 THEN 0 ELSE low END AS change_low,
            if(is_nll, exp(-low), high) AS change_high
        FROM query_table(of_estimates) WHERE cell.is_kept
    )
    SELECT run.run_id, cell.step AS step, cell.measure AS measure, ratio, n, groups, alike,
        if(run.run_id = run.base_run_id, ratio, change_low) AS low,
        if(run.run_id = run.base_run_id, ratio, change_high) AS high
    FROM found JOIN run ON run.run_id = found.cell.run_id;

-- Utility: the least ratio of retain correct, general correct and plain-text perplexity, one row
-- per run and measured step of a relation of utility_ratios; `worst` names it, of equal ones the first of retain,
-- general, texts. Bounds are the least
-- of the three bounds; the lower one is NULL unless all three have one. proven_low, proven_high:
-- the same from measures of 8 groups or more. measures: how many there are.
CREATE OR REPLACE MACRO least_utility(of_ratios) AS TABLE
    SELECT run_id, step, min(ratio) AS utility,
        arg_min(measure, [ratio, list_position(['retain correct', 'general correct'], measure)])
            FILTER (ratio IS NOT NULL) AS worst,
        if(count(low) = 3, min(low), NULL) AS low, min(high) AS high,
        if(count(low) FILTER (groups >= 8) = 3, min(low), NULL) AS proven_low,
        min(high) FILTER (groups >= 8) AS proven_high, count(ratio) AS measures
    FROM query_table(of_ratios) WHERE measure <> 'forget correct'
    GROUP BY run_id, step;
