def test_x(kafka, postgres, database):
    import psycopg
    with psycopg.connect(database.dsn) as c:
        print(c.execute("select version()").fetchone(), kafka)
