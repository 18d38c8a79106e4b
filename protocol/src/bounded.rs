//! A list that stops growing at its limit, whatever length the sender claims.

use std::fmt;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::{OPERATIONS_MAX, Operation};

pub(crate) fn operations<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<Operation>, D::Error> {
    list.deserialize_seq(Operations)
}

struct Operations;

impl<'de> Visitor<'de> for Operations {
    type Value = Vec<Operation>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPERATIONS_MAX} operations at most")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let claimed = list.size_hint().unwrap_or(0);
        if claimed > OPERATIONS_MAX {
            return Err(A::Error::invalid_length(claimed, &self));
        }
        let mut operations = Vec::with_capacity(claimed);
        while let Some(operation) = list.next_element()? {
            if operations.len() == OPERATIONS_MAX {
                return Err(A::Error::invalid_length(OPERATIONS_MAX + 1, &self));
            }
            operations.push(operation);
        }
        Ok(operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_as_large_as_the_limits_reason_says() {
        assert_eq!(size_of::<Operation>(), 160);
    }
}
