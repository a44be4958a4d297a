//! Rules come and go as told, or with their lease.
