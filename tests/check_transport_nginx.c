/* SPDX-License-Identifier: Apache-2.0
 *
 * nginx's provider, without nginx: over a connection and a loop that behave as nginx's do (nginx_double.c).
 */
#include "transport_cases.h"
#include "transport_side.h"

int main(void)
{
    Suite *suite = suite_create("transport_nginx");

    side_nginx = side_nginx_double();
    transport_cases(suite, NGINX, 1, false);
    return check_main(suite);
}
