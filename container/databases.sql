-- The history's database is made by the image of PostgreSQL; Prefect's is another one.
CREATE DATABASE prefect;
