with

source as (
    select * from {{ source('pipeline', 'processed_items') }}
),

final as (
    select
        id,
        name,
        category,
        value,
        quantity,
        is_active,
        created_at,
        customer_name,
        customer_email,
        customer_country,
        total_value,
        discount_factor,
        discounted_value,
        value_percentile,
        value_tier,
        processed_at,
        extra
    from source
)

select * from final
