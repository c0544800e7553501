/* SPDX-License-Identifier: Apache-2.0
 *
 * A zone, as the library's sources see it.
 */
#ifndef AFPA_ZONE_PRIVATE_H
#define AFPA_ZONE_PRIVATE_H

#include <afpa/zone.h>

#include "segment.h"

afpa__segment_t *afpa__zone_segment(afpa_zone_t *zone);

#endif
