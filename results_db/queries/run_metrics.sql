-- What do the metrics say that are no means: membership, forget quality, model utility?
-- $benchmark  VARCHAR    name of the benchmark
-- $models     VARCHAR[]  models to show; empty means all
-- $methods    VARCHAR[]  unlearning methods to show; empty means all
-- One row per complete run and name. A name with _ou is open-unlearning's number; _without_end, ours
-- that leaves the end token out. auc_*: how well a score tells holdout from forget, 1 still known,
-- 0.5 no trace. privleak_*: 100 ((1 - AUC) - (1 - AUC of the retain model)) / (1 - AUC of the retain
-- model), percent, 0 as the retain model, below 0 under-unlearned. forget_quality_*: p of a
-- Kolmogorov-Smirnov test of truth ratios against the retain model. model_utility_*: harmonic mean
-- of probability, ROUGE-L recall and truth ratio of retain and of each kind of general question,
-- nine parts on TOFU. memorization_, privacy_, utility_, score_: the ranking of open-unlearning's
-- paper, and with our fluency (own_fluency); 1 best. knowmem_*, verbmem_*: mean ROUGE-L F1, of MUSE. n: examples, or parts. reason:
-- why there is no value.
SELECT chosen.run_id, chosen.model, chosen.method, name, value, n, reason
FROM chosen_runs($benchmark, $models::VARCHAR[], $methods::VARCHAR[]) AS chosen
JOIN run_metric AS found ON found.run_id = chosen.run_id
ORDER BY chosen.model, chosen.method, chosen.run_id, name
