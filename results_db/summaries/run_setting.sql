-- The seed and each setting of a run's method, as text; what tells runs of one method apart.
-- run_id: The run.
-- key: seed, or the path of the setting, such as optimizer.learning_rate.
-- value: Its value as text.
SELECT run_id, key, value FROM settings_of('affected')
