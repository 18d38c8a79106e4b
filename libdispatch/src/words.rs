//! Texts for people. The daemon says them as data, so that programs can match on them; `Display` has
//! the English, one line without its end. Names in it are as others chose them:
//! [`escape`](crate::escape) a line before printing it.

mod note;
mod reason;
mod remedy;
mod step;
mod warning;

pub use note::Note;
pub use reason::{EngineReason, ProbeReason};
pub use remedy::Remedy;
pub use step::Step;
pub use warning::{Unreadable, Warning};

/// The public twin of an enum of the wire; a variant without a twin doesn't compile.
macro_rules! twin {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident $({
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)+
        })?,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant $({ $($(#[$field_doc])* $field: $type,)+ })?,)+
            /// Something that this version of the library doesn't know, by its number.
            Unknown(u32),
        }

        impl From<protocol::$name> for $name {
            fn from(wire: protocol::$name) -> Self {
                match wire {
                    $(protocol::$name::$variant $({ $($field,)+ })? => Self::$variant $({
                        $($field: $field.into(),)+
                    })?,)+
                }
            }
        }

        impl From<protocol::Open<protocol::$name>> for $name {
            fn from(wire: protocol::Open<protocol::$name>) -> Self {
                match wire {
                    protocol::Open::Known(known) => known.into(),
                    protocol::Open::Unknown(unknown) => Self::Unknown(unknown.number()),
                }
            }
        }
    };
}

use twin;

/// Every one of a list.
pub(crate) fn all<Wire, Twin: From<Wire>>(wire: Vec<Wire>) -> Vec<Twin> {
    wire.into_iter().map(Twin::from).collect()
}
