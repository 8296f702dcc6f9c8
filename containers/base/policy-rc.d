#!/bin/sh
# Packages must not start their service while an image is built: 101 is "forbidden by policy".
exit 101
