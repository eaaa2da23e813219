-- What a run still answers at a measured step, of the forget examples that its base model knew.
-- run_id: The run.
-- step: The measured step.
-- n: Examples asked, a count.
-- plain: Fraction correct on the plain prompt, in [0, 1].
SELECT answer.run_id, answer.step, count(*) AS n, avg(answer.correct::INTEGER) AS plain
FROM answer
JOIN affected_known AS known
    ON known.run_id = answer.run_id AND known.example_id = answer.example_id
GROUP BY answer.run_id, answer.step
