# SPDX-License-Identifier: Apache-2.0
"""SQL over recordings: judged once, kept as Parquet beside them, queried with DuckDB.

Only what is in this folder needs duckdb and pyarrow, and it imports them when it is used.
"""
