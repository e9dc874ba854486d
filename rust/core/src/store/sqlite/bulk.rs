//! Rows in numbers: one statement adds several, since beginning one costs more than a row.
//!
//! SQLite remembers how to undo a statement of several rows whose keys it is given, which costs a
//! copy of each page that is there already: one more reason to have few.

use rusqlite::{Connection, Statement, ToSql};

use super::super::StoreError;

/// How many rows a statement adds: as many as there are, in as few statements.
const ROWS: [usize; 3] = [32, 8, 1];

/// Where the values of a row go.
pub(super) struct Values<'a, 'c> {
    statement: &'a mut Statement<'c>,
    at: usize,
}

impl<'a, 'c> Values<'a, 'c> {
    /// Of a statement's first row.
    pub(super) const fn of(statement: &'a mut Statement<'c>) -> Self {
        Self { statement, at: 0 }
    }

    /// The next value.
    pub(super) fn put(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.at += 1;
        self.statement.raw_bind_parameter(self.at, value)
    }
}

/// The statements that add to one table.
pub(super) struct Bulk([String; ROWS.len()]);

impl Bulk {
    /// For a table and its columns, separated by commas.
    ///
    /// A row that cannot be added ends the transaction.
    pub(super) fn new(table: &str, columns: &str) -> Self {
        let row = format!("({})", vec!["?"; columns.split(',').count()].join(","));
        Self(ROWS.map(|rows| {
            let rows = vec![row.as_str(); rows].join(",");
            format!("INSERT OR ROLLBACK INTO {table}({columns}) VALUES {rows}")
        }))
    }

    /// Adds a row for each item; `bind` puts its values, in the order of the columns.
    pub(super) fn add<T>(
        &self,
        connection: &Connection,
        items: &[T],
        bind: impl Fn(&T, &mut Values<'_, '_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rest = items;
        for (rows, sql) in ROWS.into_iter().zip(&self.0) {
            let chunks = rest.chunks_exact(rows);
            rest = chunks.remainder();
            if chunks.len() == 0 {
                continue;
            }
            let mut statement = connection.prepare_cached(sql)?;
            for chunk in chunks {
                let mut values = Values::of(&mut statement);
                for item in chunk {
                    bind(item, &mut values)?;
                }
                statement.raw_execute()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_added_once_and_in_order_however_many_there_are() {
        for number in [0, 1, 7, 8, 9, 24, 31, 32, 33, 75] {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)").unwrap();
            let items: Vec<i64> = (0..number).collect();
            let bulk = Bulk::new("t", "a, b");
            bulk.add(&connection, &items, |item, values| {
                values.put(item)?;
                Ok(values.put(format!("row {item}"))?)
            })
            .unwrap();
            let mut rows = connection.prepare("SELECT b FROM t ORDER BY a").unwrap();
            let found: Vec<String> =
                rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            let wanted: Vec<String> = items.iter().map(|item| format!("row {item}")).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_row_that_cannot_be_added_ends_the_transaction() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t(a INTEGER PRIMARY KEY); BEGIN").unwrap();
        let bulk = Bulk::new("t", "a");
        let add = |items: &[i64]| bulk.add(&connection, items, |item, to| Ok(to.put(item)?));
        add(&[1]).unwrap();
        assert!(add(&[2, 1]).is_err());
        assert!(connection.is_autocommit());
        let left: i64 =
            connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }
}
