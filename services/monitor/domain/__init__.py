"""How the monitor judges: pure, without I/O, from integer counts alone.

parts      what of a profile is judged: each feature, and the few rows of a feature that mostly holds one value
history    the records of one stretch of evidence, so that every moment in it may have been the change
budget     how a year's false alarms are shared out, so that the promise is a rate
evidence   that something changed at all: what `drift.noticed` stands on
drift      by how much at the least and at the most: what `drift.detected` and `drift.cleared` stand on
judge      one version in one role: batches in, findings out, a state that fits in a row of a database
"""
