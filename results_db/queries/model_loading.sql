-- How was the model of a run loaded, where are its weights from, and how was it asked?
-- $run_id  VARCHAR  the run
-- One row per run. dtype is NULL for a run that never had a model. source to prompt_style are NULL for a model that
-- was trained here, and for a failed run (model_source has no row). prompt_format: JSON, the text around a question and
-- before an answer. asked: JSON, how the model is asked and decoded; stripped_prefix: taken off the names of its
-- weights; NULL where that was not noted. fine_tuned: of a model that was fine-tuned here (source is what it started
-- from), in words how far that came; NULL for any other. measurement: version of the run. unit: what has a contribution, token or word. path: folder of the final weights, NULL where they were not kept.
SELECT run.run_id, dtype, prompt_format, source, revision, model_source."commit", adapter,
    adapter_commit, content_hash, attention, device_map, quantization, trusted_code, prompt_style, asked,
    stripped_prefix, measurement,
    coalesce(run.spec::JSON->>'$.probe.unit', 'token') AS unit,
    weight_hash, path, tuned.definition AS fine_tuned
FROM run
LEFT JOIN model_source USING (run_id)
LEFT JOIN checkpoint ON checkpoint.run_id = run.run_id AND checkpoint.is_final
LEFT JOIN statistic AS tuned ON tuned.run_id = run.run_id AND tuned.name = 'fine_tuned'
WHERE run.run_id = $run_id
