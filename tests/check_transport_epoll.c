/* SPDX-License-Identifier: Apache-2.0
 *
 * The epoll provider over real sockets, and the fake that other suites rely on: both do what every provider has to.
 */
#include "config.h"

#include "transport_cases.h"
#include "transport_side.h"

int main(void)
{
    Suite *suite = suite_create("transport_epoll");

    transport_cases(suite, EPOLL, 2, true);
    return check_main(suite);
}
