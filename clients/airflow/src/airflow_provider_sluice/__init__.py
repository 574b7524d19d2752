"""The Airflow provider of Sluice. Importing it has no effect; DAG files import from ``agent_operators``."""
