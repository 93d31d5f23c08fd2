"""How the monitor judges: pure, without I/O, from integer counts alone.

parts      what of a profile is judged: each feature, and the few rows of a feature that mostly holds one value
history    the records of one stretch of evidence, so that every moment in it may have been the change
budget     how a year's false alarms are shared out, so that the promise is a rate
evidence   that something changed at all: what `drift.noticed` stands on
relations  that two features no longer go together as they did: the same frame, a number per pair
drift      by how much at the least and at the most: what `drift.detected` and `drift.cleared` stand on
special    the numerical mathematics beneath the two
growth     how a state takes batches in
look       every start and part of a stretch at once
judge      one version in one role: batches in, findings out
findings   what it says, in numbers and in a sentence
state      what it remembers, as bytes that fit in a row of a database
pairs      how a mirrored candidate's answers compare with the stable's
sample     which kept records to show, and what their outcomes say about the score
performance how well a classifier did, once outcomes are known, in sums that only add up
residuals  the same for a regression
exact      sums that are the same in any order
confidence how large a mean loss is at least and at most, at every moment at once
estimated  how well a version probably does, before outcomes are known
compressed a day's sums and estimates as bytes
"""
