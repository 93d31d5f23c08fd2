"""The whole platform on a laptop with nothing but Python: what production gets from elsewhere, started here.

    processes   a process that outlives whoever started it, known again by pid and start time
    java, jars  a JRE from a wheel; Apache Kafka's jars by Maven coordinates, each checked by its digest
    kafka       one broker, KRaft
    postgres    one PostgreSQL 18, a database and a role per service
    envoy       the proxy
    tokens      the development identity: a key of its own, tokens signed with it
    ports       the ports that clients know
    platform    all of these and the services, in one state file

Everything here is synchronous: it starts processes and waits for them, for `golden up` and for the tests.
No service imports it.
"""
