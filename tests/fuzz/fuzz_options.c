/* SPDX-License-Identifier: Apache-2.0
 *
 * The readers of what people write: sizes, times and the parameters of a zone.
 */
#include <string.h>

#include <afpa/options.h>
#include <afpa/zone.h>

#include "../../libafpa/assert.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t value = UINT64_C(0x1234567890);
    afpa_zone_options_t options;
    afpa_error_t error = {""};
    char text[256];

    if (size >= sizeof(text))
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    if (afpa_parse_size(text, size, &value) != AFPA_OK)
        afpa__assert(value == UINT64_C(0x1234567890));
    value = UINT64_C(0x1234567890);
    if (afpa_parse_time(text, size, &value) != AFPA_OK)
        afpa__assert(value == UINT64_C(0x1234567890));
    afpa_zone_options_init(&options);
    if (afpa_zone_options_parse(&options, text, &error) != AFPA_OK)
        afpa__assert(error.text[0] != 0);
    else if (strncmp(text, "chunk=", 6) == 0)
        afpa__assert(options.chunk_size >= 65536 && options.chunk_size <= 1048576);
    return 0;
}
