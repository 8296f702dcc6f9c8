#!/bin/sh
# Packages must not start their service during a build: 101 is "forbidden by policy".
exit 101
