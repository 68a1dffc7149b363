"""What tests stand on: real registries, independent readers, and a clock that tests advance."""
