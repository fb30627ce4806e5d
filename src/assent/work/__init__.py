"""Durable work: shard manifests, journals, content-keyed stores, executors."""
