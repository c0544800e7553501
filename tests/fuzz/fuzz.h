/* SPDX-License-Identifier: Apache-2.0
 *
 * A fuzz target: LLVMFuzzerTestOneInput.  With --enable-fuzzing libFuzzer drives it; without, replay.c does in `make check`,
 * with the inputs kept in tests/fuzz/corpus/<name of the target> and some made up from a fixed seed.
 */
#ifndef AFPA_FUZZ_H
#define AFPA_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
