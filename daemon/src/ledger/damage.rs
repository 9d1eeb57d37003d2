//! Rows that cannot be: tampered with, or damaged on disk. Named, so that an administrator finds them.

use std::error::Error;

use rusqlite::Row;
use rusqlite::types::Type;

/// A row that does not parse.
#[derive(Debug, thiserror::Error)]
#[error("row {key} of the table {table} cannot be read: {error}")]
struct DamagedRow {
    table: &'static str,
    key: i64,
    #[source]
    error: rusqlite::Error,
}

/// Reads a row whose first column is its key, and names it when that fails.
pub(super) fn named<T>(
    table: &'static str,
    row: &Row<'_>,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    read(row).map_err(|error| value(DamagedRow { table, key: row.get(0).unwrap_or(0), error }))
}

/// What was stored as a checked value and is none any more.
pub(super) fn value(error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Null, Box::new(error))
}

/// Whether a failure says that a row's content is at fault, and not the database.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    )
}
