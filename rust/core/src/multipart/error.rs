//! Why a body cannot be made, and what to change.

use std::fmt;

use crate::model::Fault;

/// A string of a part that ends up between quotes in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The field's name.
    Name,
    /// The file's name as told to the server.
    FileName,
}

impl Field {
    /// The name of that argument.
    const fn argument(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::FileName => "file_name",
        }
    }
}

/// Why a body cannot be made. `part` counts from 0, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultipartError {
    /// Not a legal boundary.
    Boundary,
    /// A name is empty; parsers drop such a part or take a file for a field.
    Empty {
        /// Which part.
        part: usize,
        /// Which string of it.
        field: Field,
    },
    /// A name has a control character that no header may carry.
    Control {
        /// Which part.
        part: usize,
        /// Which string of it.
        field: Field,
        /// The offender.
        character: char,
    },
    /// [`Escape::Strict`](super::Escape::Strict) was asked for, and a name needs escaping.
    NeedsEscape {
        /// Which part.
        part: usize,
        /// Which string of it.
        field: Field,
        /// The offender.
        character: char,
    },
    /// A media type that is not `type/subtype` in printable ASCII.
    ContentType {
        /// Which part.
        part: usize,
    },
    /// A text value contains the boundary, so it would end its own part.
    BoundaryInValue {
        /// Which part.
        part: usize,
    },
    /// The body would be longer than 64 bits can count.
    TooLong,
}

impl MultipartError {
    /// The argument it is about: `boundary`, `parts`, or a member such as `parts[2].file_name`.
    pub fn argument(&self) -> String {
        match self {
            Self::Boundary => "boundary".to_owned(),
            Self::Empty { part, field }
            | Self::Control { part, field, .. }
            | Self::NeedsEscape { part, field, .. } => {
                format!("parts[{part}].{}", field.argument())
            }
            Self::ContentType { part } => format!("parts[{part}].content_type"),
            Self::BoundaryInValue { part } => format!("parts[{part}].value"),
            Self::TooLong => "parts".to_owned(),
        }
    }
}

impl From<MultipartError> for Fault {
    fn from(error: MultipartError) -> Self {
        Self::invalid(&error.argument(), error.to_string())
    }
}

impl fmt::Display for MultipartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boundary => f.write_str(
                "a boundary is 1 to 70 of the characters 0-9 A-Z a-z '()+_,-./:=? and space, \
                 and does not end in a space",
            ),
            Self::Empty { field: Field::Name, .. } => {
                f.write_str("the field name is empty: give the name that the server expects")
            }
            Self::Empty { field: Field::FileName, .. } => f.write_str(
                "the file name is empty, and servers then take the file for a text field: give one",
            ),
            Self::Control { character, .. } => write!(
                f,
                "control character U+{:04X} cannot travel in a header: remove it",
                u32::from(*character)
            ),
            Self::NeedsEscape { character, .. } => write!(
                f,
                "{character:?} needs escaping and escape is \"strict\": \
                 rename it, or choose \"html5\""
            ),
            Self::ContentType { .. } => f.write_str(
                "a content type is type/subtype in printable ASCII, such as \"image/jpeg\"",
            ),
            Self::BoundaryInValue { .. } => f.write_str(
                "the value contains the boundary: choose another boundary, or let outhaul choose",
            ),
            Self::TooLong => {
                f.write_str("together the parts are longer than 2**64 - 1 bytes: send fewer")
            }
        }
    }
}

impl std::error::Error for MultipartError {}
