"""Publishers: `base` says what one is, `registry` finds them, every other file is one."""
