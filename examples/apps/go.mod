module plimsoll.dev/examples/apps

go 1.24
