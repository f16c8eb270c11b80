#!/bin/sh
# The roles and databases of MLflow, of its people, and of Prefect. The image of PostgreSQL runs it once, on a fresh volume;
# so does `make stack`. The passwords are those that the services log in with, in a file of PostgreSQL's user.
set -eu
roles=${ROLES:-/run/secrets/roles}
password_of() { sed -n "s/^[^:]*:[^:]*:[^:]*:$1:\(.*\)\$/\1/p" "$roles"; }
MLFLOW_PASSWORD=$(password_of mlflow) PREFECT_PASSWORD=$(password_of prefect)
export MLFLOW_PASSWORD PREFECT_PASSWORD
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres << 'SQL'
\getenv mlflow MLFLOW_PASSWORD
\getenv prefect PREFECT_PASSWORD
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE prefect LOGIN PASSWORD :'prefect';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_people OWNER mlflow;
CREATE DATABASE prefect OWNER prefect;
REVOKE ALL ON DATABASE mlflow, mlflow_people, prefect FROM PUBLIC;
SQL
