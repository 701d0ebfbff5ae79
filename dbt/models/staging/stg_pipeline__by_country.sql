with

source as (
    select * from {{ source('pipeline', 'processed_by_country') }}
),

final as (
    select
        country,
        record_count,
        total_value,
        discounted_value
    from source
)

select * from final
