/* ip_restriction.h - configuration of the plugin ip-restriction. */
#ifndef COMMON_PLUGINS_IP_RESTRICTION_H
#define COMMON_PLUGINS_IP_RESTRICTION_H

#include "common/plugins/contract.h"

struct ip_restriction_conf {
    struct list allow, deny; /* struct str: addresses and networks */
    double status;           /* NAN: absent */
    struct str message;
};

extern const struct plugin_contract contract_ip_restriction;

#endif
