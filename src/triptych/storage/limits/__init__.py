"""Admission indexes: what may still be asked, spent and run at once, without asking the database.

``memory`` is for one process, ``redis_index`` for several. Both count alike; one test suite holds
them together. See ``core.admission`` for what they promise.
"""
