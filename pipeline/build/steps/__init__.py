"""Steps that several recipes share: functions that take a build context and values, and return values."""
