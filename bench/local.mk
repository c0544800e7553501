# SPDX-License-Identifier: Apache-2.0
# Measurements; `make bench` comes with the side-by-side benchmark.
