"""Features: the one place where training and serving get them. What stands here is shared, as services/profile is.

definitions   a feature repository read: views, their digests, what a feature service asks of them
online_store  Feast's PostgreSQL online store, whose newer values no late push overwrites
redis_store   the same of Feast's Redis online store

Feast is imported here and nowhere else; who imports from here has the extra `features`, and a reason.
"""
