"""The egress policy in effect: resolving, checking and connecting to addresses that users gave."""
