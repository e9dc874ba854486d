//! INSERTs of several rows, since beginning a statement costs more than a row.
//!
//! SQLite remembers how to undo a statement of several rows whose keys it is given, which costs a
//! copy of each page that is there already: one more reason to have few.

use std::slice;

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

/// What becomes a row of a table.
pub(super) trait IntoRow {
    /// The value of its primary key, an integer.
    fn key(&self) -> Result<i64, StoreError>;

    /// Puts the values of the other columns, in their order.
    fn bind(&self, to: &mut Values<'_, '_>) -> Result<(), StoreError>;
}

/// The statements that add to one table. A row that cannot be added ends the transaction.
pub(super) struct Bulk {
    table: &'static str,
    keyed: Statements,
    counted: Statements,
}

impl Bulk {
    /// For a table, its primary key, and its other columns, separated by commas.
    pub(super) fn new(table: &'static str, key: &str, columns: &str) -> Self {
        let keyed = statements("INSERT OR ROLLBACK", table, &format!("{key},{columns}"));
        let counted = statements("INSERT OR ROLLBACK", table, columns);
        Self { table, keyed, counted }
    }

    /// Adds a row for each item, wherever it belongs.
    pub(super) fn add<T: IntoRow>(
        &self,
        connection: &Connection,
        items: &[T],
    ) -> Result<(), StoreError> {
        in_few(&self.keyed, connection, items, |item, to| {
            to.put(item.key()?)?;
            item.bind(to)
        })
    }

    /// Adds rows behind the last one of the table: items with ascending keys.
    ///
    /// Keys that follow each other are counted by SQLite, which then need not look where each
    /// belongs and whether it is taken. That it counts as we do is checked.
    pub(super) fn append<T: IntoRow>(
        &self,
        connection: &Connection,
        items: &[T],
    ) -> Result<(), StoreError> {
        let mut rest = items;
        while let Some((first, others)) = rest.split_first() {
            self.add(connection, slice::from_ref(first))?;
            let mut last = first.key()?;
            let mut following = 0;
            for item in others {
                if item.key()? != last + 1 {
                    break;
                }
                last += 1;
                following += 1;
            }
            let (run, after) = others.split_at(following);
            in_few(&self.counted, connection, run, IntoRow::bind)?;
            if connection.last_insert_rowid() != last {
                let table = self.table;
                return Err(StoreError::Internal(format!("{last} is not the last of {table}")));
            }
            rest = after;
        }
        Ok(())
    }
}

/// One statement for each number of rows.
pub(super) type Statements = [String; ROWS.len()];

/// The statements that add rows with these columns, separated by commas, to a table.
pub(super) fn statements(verb: &str, table: &str, columns: &str) -> Statements {
    let row = format!("({})", vec!["?"; columns.split(',').count()].join(","));
    ROWS.map(|rows| {
        let rows = vec![row.as_str(); rows].join(",");
        format!("{verb} INTO {table}({columns}) VALUES {rows}")
    })
}

/// Adds a row for each item in as few statements as there are.
pub(super) fn in_few<T>(
    statements: &Statements,
    connection: &Connection,
    items: &[T],
    bind: impl Fn(&T, &mut Values<'_, '_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut rest = items;
    for (rows, sql) in ROWS.into_iter().zip(statements) {
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(i64);

    impl IntoRow for Item {
        fn key(&self) -> Result<i64, StoreError> {
            Ok(self.0)
        }

        fn bind(&self, to: &mut Values<'_, '_>) -> Result<(), StoreError> {
            Ok(to.put(format!("row {}", self.0))?)
        }
    }

    fn table() -> (Connection, Bulk) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)").unwrap();
        (connection, Bulk::new("t", "a", "b"))
    }

    fn items(keys: impl IntoIterator<Item = i64>) -> Vec<Item> {
        keys.into_iter().map(Item).collect()
    }

    fn assert_holds(connection: &Connection, items: &[Item]) {
        let mut rows = connection.prepare("SELECT a, b FROM t ORDER BY a").unwrap();
        let found: Vec<(i64, String)> = rows
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let wanted: Vec<_> = items.iter().map(|item| (item.0, format!("row {}", item.0))).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn every_row_is_added_once_and_in_order_however_many_there_are() {
        for number in [0, 1, 7, 8, 9, 24, 31, 32, 33, 75] {
            let items = items(0..number);
            let (connection, bulk) = table();
            bulk.add(&connection, &items).unwrap();
            assert_holds(&connection, &items);
            let (connection, bulk) = table();
            bulk.append(&connection, &items).unwrap();
            assert_holds(&connection, &items);
        }
    }

    #[test]
    fn appended_rows_have_their_own_keys_with_and_without_gaps() {
        let (connection, bulk) = table();
        let items = items((5..40).chain(41..42).chain(100..109).chain([1 << 60]));
        bulk.append(&connection, &items[..7]).unwrap();
        bulk.append(&connection, &items[7..]).unwrap();
        assert_holds(&connection, &items);
    }

    #[test]
    fn rows_that_sqlite_would_count_otherwise_are_refused() {
        let (connection, bulk) = table();
        bulk.append(&connection, &items([50])).unwrap();
        let refused = bulk.append(&connection, &items([3, 4])).unwrap_err();
        assert!(refused.to_string().contains("4 is not the last of t"), "{refused}");
    }

    #[test]
    fn a_row_that_cannot_be_added_ends_the_transaction() {
        let (connection, bulk) = table();
        connection.execute_batch("BEGIN").unwrap();
        bulk.add(&connection, &items([1])).unwrap();
        assert!(bulk.add(&connection, &items([2, 1])).is_err());
        assert!(connection.is_autocommit());
        assert_holds(&connection, &[]);
    }
}
