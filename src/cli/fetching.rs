//! Downloads of weights under the program's bars.

use crate::progress::Bar;
use crate::weights::fetch::Progress;

impl Progress for Bar {
    fn inc(&self, n: u64) {
        Bar::inc(self, n);
    }

    fn set(&self, done: u64) {
        Bar::set(self, done);
    }

    fn finish(&self) {
        Bar::finish(self);
    }
}
